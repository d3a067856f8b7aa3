"""What a run reads besides its pool: the files of its model, tables, targets, lists, the concepts of another run."""

from dataclasses import astuple

from filtering.config.run import Config
from filtering.embedding.encoders import encoder_settings
from filtering.embedding.identity import contents_of
from filtering.filters.exclusion import exclusion_identity
from filtering.filters.heads import head_identity
from filtering.filters.phrases import IMAGENET
from filtering.filters.words import list_identity
from filtering.pipeline.origin import origin_of
from filtering.pipeline.selection_steps import every_spec, model_of
from filtering.scores.registry import files_of
from filtering.storage.store import digest
from filtering.storage.versions import versions_of


def sources_of(config: Config) -> dict[str, str]:
    """Return what tells the content of each source of a configuration that `check` has passed, by its name or URL.

    Packages bring what is named and no file: an upgrade of one makes no finished run another one.
    """
    found = dict[str, str]()
    model = model_of(config)
    if model is not None and model.model != "demo":
        found[f"a file of embedding.model {model.model}"] = digest(contents_of(model))
    if model is not None:
        each = {name: encoder_settings(model, name) for name in model.encoders}
        found |= {f"a file of embedding.encoders.{name}": digest(contents_of(one)) for name, one in each.items()}
    for step in config.filters:
        if step.words is not None and step.words.list != IMAGENET:
            found[step.words.list] = list_identity(step.words)
        if step.exclude is not None:
            found[step.exclude.source] = exclusion_identity(step.exclude)
        if step.head is not None:
            found[step.head.weights] = head_identity(step.head)
    versions = versions_of({url for spec in every_spec(config) for url in files_of(spec)})
    found |= {url: digest(astuple(version)) for url, version in versions.items()}
    if (origin := origin_of(config, None)) is not None:
        found[f"concepts.centroids {config.concepts.centroids}"] = origin[1]
    return found
