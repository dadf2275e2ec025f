"""tokio-postgres and sqlx: a Rust program that asserts for itself. QUIVER_RUST_CLIENTS names it, as scripts/test builds it."""

import os
import subprocess
from pathlib import Path

import pytest

MANIFEST = Path(__file__).parent / "rust" / "Cargo.toml"


@pytest.fixture(scope="module")
def program():
    if built := os.environ.get("QUIVER_RUST_CLIENTS"):
        return [built]
    return ["cargo", "run", "--quiet", "--manifest-path", str(MANIFEST), "--"]


@pytest.mark.parametrize("client", ["tokio-postgres", "sqlx"])
def test_rust(server, program, client):
    done = subprocess.run(
        [*program, client], env={**os.environ, **server.environment}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
