"""A program while it imports: Ctrl-C ends it at once, and the garbage collector rests.

A KeyboardInterrupt in the middle of an import leaves traces on the terminal that nobody can catch, and while a large library
is being loaded it would be seconds late. What imports make is there to stay, so that the garbage collector would look through it again and again
for nothing.
"""

from __future__ import annotations

import gc
import signal


def begin_loading() -> None:
    """Let SIGINT end the program without unwinding, unless it is ignored or has a handler. To be called on the main thread."""
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def loaded() -> None:
    """Let SIGINT raise KeyboardInterrupt again after `begin_loading`; without that nothing changes."""
    keep_imports()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def keep_imports() -> None:
    """Have the garbage collector work again, but not look at what is there by now."""
    gc.freeze()
    gc.enable()
