"""Beside what pyproject.toml says: the recipes of the checkout go into the wheel."""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = pathlib.Path(__file__).parent
SUFFIXES = (".yml", ".yaml", ".json", ".md")


class BuildWithRecipes(build_py):
    """Copy configs/ and projects/ to fastseek/_recipes of what is built; the sources stay single."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # the checkout's own folders are found
        home = pathlib.Path(self.build_lib) / "fastseek" / "_recipes"
        for folder in ("configs", "projects"):
            for path in sorted((ROOT / folder).rglob("*")):
                if path.suffix in SUFFIXES:
                    target = home / path.relative_to(ROOT)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)


setup(cmdclass={"build_py": BuildWithRecipes})
