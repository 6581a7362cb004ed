"""`lab status`: which real servers a run would find, where, and of which version.

Not here: how they are looked at (`lab.wiring.backends.readiness`), and starting them (`up`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues
from lab.cli.output import print_result

if TYPE_CHECKING:
    from lab.wiring.backends.readiness import ServerState


def status(*, json: options.Json = False, no_color: options.NoColor = False) -> int:
    """Show which real servers can be used: those of LAB_* variables, else where `lab up` puts them.

    Elasticsearch and Kibana only if LAB_ELASTICSEARCH_URL and LAB_KIBANA_URL name them.

    Exit code: 0 all can be used, 4 one cannot.
    """
    values = FlagValues()
    is_json, is_plain = values.switch("json", flag=json), values.switch("no-color", flag=no_color)
    from lab.settings import environment
    from lab.wiring.backends.elk_readiness import look_at_elk
    from lab.wiring.backends.readiness import look_at_servers

    variables = environment()
    states = [*look_at_servers(variables), *look_at_elk(variables)]
    if is_json:
        import msgspec

        servers = [msgspec.to_builtins(state) for state in states]
        print_result(
            msgspec.json.format(msgspec.json.encode({"servers": servers}), indent=2) + b"\n"
        )
    else:
        print_result(_page(states, is_plain=is_plain))
    return ExitCode.NOT_READY if any(state.problem for state in states) else ExitCode.PASS


def _page(states: "Sequence[ServerState]", *, is_plain: bool) -> str:
    from lab.cli import render

    rows = [
        (state.name, state.problem or "ready", state.version or "-", state.address)
        for state in states
    ]
    remedies = [(state.name, state.remedy) for state in states if state.remedy]
    parts = [render.listing(["Server", "State", "Version", "Address"], rows)]
    if remedies:
        parts += ["", render.labelled(remedies)]
    return render.to_text(parts, width=render.width_of_output(), is_plain=is_plain)
