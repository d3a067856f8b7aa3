"""The public `filtering.run`."""

from filtering.config.run import Config
from filtering.core.arguments import Kind, check_arguments
from filtering.manifests.opened import OpenedRun, open_run
from filtering.pipeline import incremental
from filtering.runtime.progress import Reporter

CONFIG = Kind("a Config, which load_config returns", lambda value: isinstance(value, Config))


def run(config: Config, progress: Reporter | None = None, *, into_existing: bool = False) -> OpenedRun:
    """Run a configuration to its end, or resume it, as `filtering run` does.

    Parameters
    ----------
    config : Config
        What `load_config` returned. With a `base` it is an incremental run.
    progress : Reporter, optional
        Receives how the run goes; lines on stderr unless given.
    into_existing : bool
        Whether the output may hold files that no run wrote. They stay as they are; what a run writes must be free.

    Returns
    -------
    OpenedRun
        The finished run.

    Raises
    ------
    InputError
        If the configuration, the base, the pool or the output cannot work; nothing has been written then.
    RunError
        If a stage fails; what it finished stays, and the same call resumes it.
    """
    check_arguments(config=(config, CONFIG))
    incremental.run(config, progress, into_existing)
    return open_run(config.output)
