"""The scripted operator of a run, who looks into its dead-letter queues.

Now and then, and once nothing else is under way, every letter is sent back to its group until that
has been done often enough; a letter that is dead then is discarded, if the script says so. Not
here: how a letter goes back (`lab.patterns.redrive`), and when a run lets the operator look
(`lab.runner`).
"""

from lab.domain.errors import LabError
from lab.patterns.redrive import Redrive


class ScriptedOperator:
    """One operator of one run.

    Args:
        redrive: the operator's tool.
        redrives: how often each event is sent back.
        discards: `yes` or `no`: whether one that is dead all the same is discarded.
        every_us: how often the operator looks while faults last, 0 for never.
    """

    def __init__(self, redrive: Redrive, *, redrives: int, discards: str, every_us: int) -> None:
        self.every_us = every_us
        self._redrive = redrive
        self._redrives = redrives
        self._discards = discards == "yes"
        self._is_looking = False

    async def look(self, *, is_last: bool) -> bool:
        """Answer every letter that can be answered now; False if there was none.

        Args:
            is_last: the faults are over, so a letter that is dead now may be given up.
        """
        if self._is_looking:
            return True
        self._is_looking = True
        try:
            return await self._answer(is_last=is_last)
        except LabError:
            # The broker cannot be reached: the other letters will be there the next time.
            return True
        finally:
            self._is_looking = False

    async def _answer(self, *, is_last: bool) -> bool:
        letters = await self._redrive.letters()
        back = [each for each in letters if each.redrives < self._redrives and not each.is_spent]
        over = [each for each in letters if each not in back] if self._discards and is_last else []
        sent = await self._redrive.redrive(back)
        given_up = await self._redrive.discard(over)
        return bool(sent or given_up)
