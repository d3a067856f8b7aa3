"""How fast a stage's tasks go, and how long the rest will take: the one formula of the bar, of events and of status."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Throughput:
    """What an attempt at a stage has done so far."""

    seconds: float  # since the first of its tasks began; before one has ended, since it began with the stage
    done: int  # done, total: tasks
    total: int
    resumed: int = 0  # of the tasks done, those of earlier attempts: they took none of the seconds
    samples: int = 0  # in the tasks that this attempt has done; 0 where tasks are not counted in samples

    @property
    def samples_per_second(self) -> float | None:
        """Samples a second; None where nothing is known of it."""
        return self.samples / self.seconds if self.samples and self.seconds else None

    @property
    def tasks_per_second(self) -> float | None:
        """Tasks a second; None before this attempt has ended one."""
        here = self.done - self.resumed
        return here / self.seconds if here and self.seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all are done, if they go on as those of this attempt did; None before it has ended one."""
        rate = self.tasks_per_second
        return (self.total - self.done) / rate if rate else None


def rate_words(throughput: Throughput) -> str:
    """Return a rate for a person: of samples where they are counted, else of tasks; nothing where none is known."""
    if throughput.samples_per_second:
        return f"{throughput.samples_per_second:,.0f} samples/s"
    tasks = throughput.tasks_per_second
    if not tasks:
        return ""
    return f"{tasks:,.1f}/s" if tasks >= 1 else f"{60 * tasks:,.1f}/min"
