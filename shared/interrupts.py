"""What Ctrl-C does to a program: while it imports it ends at once, later it unwinds.

A KeyboardInterrupt in the middle of an import leaves traces on the terminal that nobody can catch, and while a large library
is being loaded it would be seconds late.
"""

from __future__ import annotations

import signal


def end_at_once() -> None:
    """Let SIGINT end the program without unwinding, unless it is ignored or has a handler. To be called on the main thread."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def unwind() -> None:
    """Let SIGINT raise KeyboardInterrupt again after `end_at_once`; without that nothing changes."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
