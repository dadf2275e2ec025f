"""What has been measured, kept in a file after each figure: a run that was interrupted goes on where it was."""

import json
import pathlib
import time


class Results:
    def __init__(self, path: pathlib.Path):
        self.path = path
        self.values = json.loads(path.read_text()) if path.exists() else {}

    def once(self, peer: str, what: str, measure):
        """The figure of a peer, measured unless it is known. Shape: whatever `measure` gives that JSON can hold."""
        own = self.values.setdefault(peer, {})
        if what not in own:
            own[what] = measure()
            own.setdefault("measured", {})[what] = time.strftime("%Y-%m-%d %H:%M")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.values, indent=1))
            print(f"{peer:10} {what:58} {brief(own[what])}", flush=True)
        return own[what]

    def has(self, peer: str, wanted) -> bool:
        return all(what in self.values.get(peer, {}) for what in wanted)


def brief(value) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {brief(it)}" for name, it in value.items())
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"
    return str(value)
