"""`python -m switchgear.sdk.host CONTROL MODULE MEMORY_MB NAMESPACES [lazy]`: serves one module for the engine."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # until the module is loaded: nothing of that is garbage
    from switchgear.sdk.host.fork_server import serve

    control, module_id, memory_mb, namespaces, *lazy = sys.argv[1:]
    serve(int(control), module_id, int(memory_mb), int(namespaces), lazy=bool(lazy))
