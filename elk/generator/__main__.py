"""`python -m elk.generator`: writes the files that are made out of tables.

Not here: what stands in them.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from elk.generator.fields import MAPPINGS_FILE, component_template, read_fields
from elk.generator.objects import OBJECTS_FILE, as_ndjson, saved_objects


def made_files() -> Mapping[Path, str]:
    """Every file that is made, with its text."""
    template = component_template(read_fields())
    return {
        MAPPINGS_FILE: json.dumps(template, indent=2, sort_keys=True) + "\n",
        OBJECTS_FILE: as_ndjson(saved_objects()),
    }


if __name__ == "__main__":
    for file, text in made_files().items():
        file.write_text(text, "utf-8")
