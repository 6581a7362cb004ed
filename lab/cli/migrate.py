"""`lab migrate`: makes what a standing system needs on its servers, as a step of its own.

Not here: the making (`lab.wiring.standing`), and the processes, which begin without a right to make
anything once this was done.
"""

from lab.cli import one_process, options
from lab.cli.exit_codes import ExitCode
from lab.cli.output import print_result


def migrate(*, name: one_process.Name = None, set_: options.Set = None) -> int:
    """Make schema and topics of a standing system, or bring them up to date; nothing is started.

    Run it with a role that may create, before processes of a newer lab are started. They then need
    none of its rights. The servers are those of LAB_POSTGRES_DSN and LAB_KAFKA_BOOTSTRAP.

    Exit code: 0 all is there, 2 wrong usage, 4 a server is not there or does not let us.
    """
    from lab.wiring.standing import migrate_all

    made = migrate_all(one_process.system(name, set_))
    print_result("".join(f"{line}\n" for line in made))
    return ExitCode.PASS
