"""`python -m switchgear.sdk.host CONTROL MODULE MEMORY_MB NAMESPACES [lazy]`: serves one module for the engine."""

import sys

from switchgear.sdk.host.fork_server import serve

if __name__ == "__main__":
    control, module_id, memory_mb, namespaces, *lazy = sys.argv[1:]
    serve(int(control), module_id, int(memory_mb), int(namespaces), lazy=bool(lazy))
