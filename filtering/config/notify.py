"""The section `notify` of a configuration: who is told how a run ended."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from filtering.config.types import Above0, Retries, Section

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class Notify(Section):
    """A webhook that receives a message when a run ends; secrets come from the environment."""

    url: str | None = Field(None, description="the URL of a webhook, if the URL is not secret")
    url_env: str | None = Field(None, description="the name of the environment variable that holds the URL")
    token_env: str | None = Field(None, description="the name of the environment variable that holds a bearer token")
    # Not `on`, which YAML 1.1 takes for true.
    when: tuple[Literal["success", "failure"], ...] = Field(
        ("success", "failure"), description="a list of success and failure"
    )
    timeout: Above0 = Field(10.0, description="the maximum duration of one attempt in seconds, a positive number")
    retries: Retries = Field(3, description="the number of times a delivery is retried, 0 to 10")

    @field_validator("url_env", "token_env")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        # Without what was given: it may be the secret itself.
        if name is not None and not VARIABLE.fullmatch(name):
            raise ValueError("must be the name of an environment variable, such as HOOK_URL")
        return name

    @model_validator(mode="after")
    def _one_address(self) -> "Notify":
        if (self.url is None) == (self.url_env is None):
            raise ValueError("give either notify.url_env (an environment variable) or notify.url")
        return self
