"""How many examples Hypothesis tries, relative to the profile."""

from hypothesis import HealthCheck, settings


def examples(share: float, *, suppress: HealthCheck | None = None, **others) -> settings:
    """A share of the profile's examples: below 1 where one example costs much, above where rare ones matter."""
    profile = settings.default
    suppressed = [*profile.suppress_health_check, *([suppress] if suppress else [])]
    return settings(
        max_examples=max(1, round(share * profile.max_examples)), suppress_health_check=suppressed, **others
    )
