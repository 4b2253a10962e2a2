"""Every error that a user can meet, as a tree.

    SledError
    ├── SettingsError          a setting is unknown, missing or out of range
    ├── PairError              a folder is not a pair, or its files do not belong together
    ├── DeliveryError          files of a pair can't be fetched from a hub
    ├── RequestError           what is asked is no text, or there is nothing to ask
    ├── GrammarError           what an answer shall keep to can't be followed
    │   └── GrammarUntried     nobody knows, as it could not be tried
    ├── AnswerCancelled        nobody wants more of an answer
    ├── OutputLost             standard output is closed or full
    ├── ProtocolError          bytes or fields that the protocol does not allow
    ├── LinkError
    │   ├── BrokerUnreachable  nothing answers at the broker's address
    │   └── BrokerRefused      the broker turned the credentials or a publish down
    ├── HomeAssistantError     Home Assistant can't be reached, or does not take something
    │   └── HomeAssistantSilent  it was told something and has not answered: nobody knows whether it was done
    └── SessionError
        ├── NoHub              no hub is online, or none serves the pair
        ├── IncompatiblePair   the hub's tokenizer is another one
        ├── PromptTooLong      the prompt does not fit the context
        ├── HubSilent          the hub stopped answering
        └── HubRefused         the hub answered with a fault that re-opening does not mend

Each carries a sentence that says what to do; the commands print it and exit with status 1.
"""

from __future__ import annotations


class SledError(Exception):
    """The root; its text is a sentence for the user."""


class SettingsError(SledError):
    """A setting is unknown, missing or out of range."""


class PairError(SledError):
    """A folder is not a pair, or its files do not belong together."""


class RankLost(SledError):
    """A process that has a part of the target is gone: the hub can't go on."""


class DeliveryError(SledError):
    """Files of a pair can't be fetched from a hub."""


class RequestError(SledError):
    """What is asked is no text, or there is nothing to ask."""


class GrammarError(SledError):
    """What an answer shall keep to can't be followed, or is not followed by the text so far."""


class GrammarUntried(GrammarError):
    """Whether a grammar can be followed could not be tried: this machine had no room or no time."""


class AnswerCancelled(SledError):
    """Nobody wants more of an answer."""


class OutputLost(SledError):
    """Standard output is closed or full."""


class ProtocolError(SledError):
    """Bytes or fields that the protocol does not allow."""


class LinkError(SledError):
    """The way to the broker."""


class BrokerUnreachable(LinkError):
    """Nothing answers at the broker's address."""


class BrokerRefused(LinkError):
    """The broker turned the credentials or a publish down."""


class HomeAssistantError(SledError):
    """Home Assistant can't be reached, or does not take something; nothing was done."""


class HomeAssistantSilent(HomeAssistantError):
    """Home Assistant was told something and has not answered: nobody knows whether it was done."""


class SessionError(SledError):
    """A session could not be opened or go on."""


class NoHub(SessionError):
    """No hub is online, or none serves the pair."""


class IncompatiblePair(SessionError):
    """The hub serves a pair of that name with another tokenizer."""


class PromptTooLong(SessionError):
    """The prompt does not fit the context."""


class HubSilent(SessionError):
    """The hub stopped answering."""


class HubRefused(SessionError):
    """The hub answered with a fault that re-opening does not mend."""


def brief(error: Exception, most: int = 200) -> str:
    """What another library's error says, in one line: its kind, and at most so many characters of its text."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:most]}{'…' if len(said) > most else ''}"
