"""What pyproject.toml cannot say: jobs/ is installed as filtering.jobs."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["filtering*"]), "filtering.jobs"],
    package_dir={"filtering.jobs": "jobs"},
)
