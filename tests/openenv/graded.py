"""Serves an export and grades it by OpenEnv's registry, scheduler, policy and schema: ``python graded.py FOLDER``."""

import json
import sys
from importlib.resources import files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from openenv_server import serve, wait


def main():
    import jsonschema
    from loopkit_openenv.__main__ import report

    folder = Path(sys.argv[1])
    server, url = serve(folder)
    try:
        wait(server, url)
        made = json.loads(report(folder, url).model_dump_json())
    finally:
        server.terminate()
        server.wait(20)
    schema = json.loads(files("openenv.validation").joinpath("schemas/report-v2.schema.json").read_text())
    jsonschema.validate(made, schema)
    print(json.dumps({"schema": "valid", **made}))


if __name__ == "__main__":
    main()
