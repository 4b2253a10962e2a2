"""Who is answered next: requests wait in one line, each chat has one answer at a time, and a repeated request is not answered twice."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable

from edge_node.service.chats import Chat, Chats
from edge_node.service.requests import Asked
from edge_node.service.worker import Job, Reply, Worker
from shared.program import sentence

log = logging.getLogger(__name__)

_REMEMBERED = 512  # requests that are known again when they are repeated


class Desk:
    """To be used on one thread."""

    def __init__(
        self,
        hire: Callable[[], Worker],
        most_workers: int,
        most_waiting: int,
        chats: Chats,
        fail: Callable[[Job], None],
    ) -> None:
        """Workers are hired when they are needed, `most_workers` at most; `fail` is given a job for which that went wrong."""
        self.waiting: deque[Job] = deque()
        self.chats = chats
        self._fail = fail
        self._hire, self._most_workers, self._most_waiting = hire, most_workers, most_waiting
        self._workers: list[Worker] = []
        self._known: OrderedDict[tuple[str, str], Job] = OrderedDict()

    @property
    def answering(self) -> list[Job]:
        """The requests that are being answered."""
        return [worker.job for worker in self._workers if worker.job is not None]

    @property
    def hubs(self) -> list[str]:
        """The hubs with which there are sessions."""
        return sorted({hub for worker in self._workers if (hub := worker.hub) is not None})

    def repeated(self, asker: str, asked: Asked) -> Job | None:
        """The job of a request that has come before: its asker gave it an id, and has sent it again."""
        return self._known.get((asker, asked.id)) if asked.has_own_id else None

    def take(self, asked: Asked, asker: str, reply: Reply) -> bool:
        """Let a request wait for its turn; whether it may, as only so many do."""
        can_begin = len(self.answering) < self._most_workers and not self.chats.is_pending(asker, asked.chat)
        if not can_begin and len(self.waiting) >= self._most_waiting:
            return False
        chat = (
            self.chats.find(asker, asked.chat, asked.system)
            if asked.chat
            else Chat(asked.system, is_named=False, turns=asked.history)
        )
        chat.pending += 1
        job = Job(asked, asker, reply, chat)
        self.remember(job)
        self.waiting.append(job)
        self._assign()
        return True

    def remember(self, job: Job) -> None:
        """Know a request again, if its asker can repeat it."""
        if not job.asked.has_own_id:
            return
        self._known[job.asker, job.asked.id] = job
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def finished(self, worker: Worker, job: Job) -> None:
        """A worker is free again."""
        worker.job = None
        job.chat.is_answered = False
        job.chat.pending -= 1
        self._assign()

    def cancel(self, asker: str, request_id: str) -> list[Job]:
        """Cancel what that asker asked by that id, or all of it; the jobs that had not begun."""
        return self._cancel(lambda job: job.asker == asker and request_id in ("", job.asked.id))

    def cancel_all(self) -> list[Job]:
        """Cancel everything, whoever asked; the jobs that had not begun."""
        return self._cancel(lambda _: True)

    def close(self) -> None:
        """Cancel everything, and end the workers' threads."""
        self.cancel_all()
        for worker in self._workers:
            worker.close()

    def _cancel(self, is_meant: Callable[[Job], bool]) -> list[Job]:
        for worker in self._workers:
            if worker.job is not None and is_meant(worker.job):
                worker.cancel()
        dropped = [job for job in self.waiting if is_meant(job)]
        for job in dropped:
            job.is_unwanted.set()
            job.chat.pending -= 1
        self.waiting = deque(job for job in self.waiting if not is_meant(job))
        return dropped

    def _assign(self) -> None:
        """Give the requests that wait to workers that are free, in their order; a chat's own order is kept too."""
        held: deque[Job] = deque()
        while self.waiting:
            job = self.waiting.popleft()
            taken = job.chat.is_answered or any(job.chat is other.chat for other in held)
            try:
                worker = None if taken else self._free(job.chat)
            except Exception as error:  # of a drafter that cannot be had, for instance
                log.exception("request %s finds nobody", job.asked.id)
                job.error = sentence(f"this device cannot answer more at once: {error!r}")
                job.chat.pending -= 1
                self._fail(job)
                continue
            if worker is None:
                held.append(job)
                continue
            job.chat.is_answered = True
            worker.give(job)
        self.waiting = held

    def _free(self, chat: Chat) -> Worker | None:
        """The free worker that has answered this chat last, or one that holds no chat with which somebody may go on, or any; None where there is none."""
        free = [worker for worker in self._workers if worker.job is None]
        for worker in free:
            if worker.chat is chat:
                return worker
        for worker in free:
            if worker.chat is None or not worker.chat.is_named:
                return worker
        if len(self._workers) < self._most_workers:
            self._workers.append(self._hire())
            return self._workers[-1]
        return free[0] if free else None
