"""node-postgres and postgres.js, with pgvector-node: programs that assert for themselves."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "node"


@pytest.mark.parametrize("program", ["pg.js", "pg-vectors.js", "postgres.js", "postgres-vectors.js"])
def test_node(server, program):
    node = shutil.which("node")
    assert node, "node is needed; `npm ci` in tests/clients/node installs the clients"
    done = subprocess.run(
        [node, program],
        cwd=FOLDER,
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
