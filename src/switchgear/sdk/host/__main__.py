"""`python -m switchgear.sdk.host CONTROL MODULE MEMORY_MB [lazy]`: serves one module until the engine goes away."""

import sys

from switchgear.sdk.host.fork_server import serve

if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), lazy="lazy" in sys.argv[4:])
