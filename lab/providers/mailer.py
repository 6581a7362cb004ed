"""The mailer: sends each mail once while it remembers the mail's key. Its ledger is the history."""

from typing import ClassVar, Final

from lab.providers.core import Answer, Request, Server

SEND: Final = "send"


class MailerServer(Server):
    """Sends mails. The ledger's line has the template where a refund has its charge key."""

    name: ClassVar[str] = "mailer"
    sent: int = 0

    def _do(self, request: Request, now_us: int) -> Answer:
        self.sent += 1
        self._record("mail", request, now_us)
        return True

    def restore(self, request: Request, answer: Answer, at_us: int) -> None:
        super().restore(request, answer, at_us)
        self.sent += answer is True
