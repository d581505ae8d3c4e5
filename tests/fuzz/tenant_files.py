"""Coverage-guided fuzzing of the tenant file loader with atheris: `python -m tests.fuzz.tenant_files`.

Not collected by pytest (tests/properties has the part that runs on each change). Options after the name go to
libFuzzer, such as `-max_total_time=600 -jobs=1`. It starts from the good and the broken fixtures and the
fields of the kinds as dictionary; a finding is written to the working directory as crash-*.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tenants", "yaml"]):
    from tenants.files.kinds import KINDS, PARTS
    from tests.support.tenant_files import BROKEN, GOOD, SAMPLES, judge

WORDS = (
    "bulkhead.dev/v1", "untrusted", "trusted", "runc", "default", "unlimited", "cpu", "memory", "10.0.0.0/8", "4Gi",
    "---\\x0a", "  - ", ": ", "{", "}", "[", "]", "&a ", "*a", "<<: ", "|\\x0a", "? ", "!!str ", "\\x09",
    "\\xef\\xbb\\xbf",
)  # fmt: skip


def one_input(data: bytes) -> None:
    """Judge the bytes as a file: what is not UTF-8 is turned away before the parser, as `load` does."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return
    judge(text)


def main() -> None:
    """Fuzz until libFuzzer's options say stop."""
    with tempfile.TemporaryDirectory() as directory:
        corpus, dictionary = Path(directory, "corpus"), Path(directory, "words")
        corpus.mkdir()
        for number, path in enumerate(
            found for root in (*GOOD, *BROKEN, SAMPLES) for found in files_of(root)
        ):
            shutil.copyfile(path, corpus / f"{number}.yaml")
        parts = (*KINDS.values(), *PARTS.values())
        fields = {str(field.alias) for part in parts for field in part.model_fields.values()}
        dictionary.write_text("".join(f'"{word}"\n' for word in sorted({*WORDS, *KINDS, *fields})))
        options = [f"-dict={dictionary}", "-max_len=4096", "-timeout=20", *sys.argv[1:], str(corpus)]
        atheris.Setup([sys.argv[0], *options], one_input)
        atheris.Fuzz()


def files_of(root: Path) -> list[Path]:
    """The YAML files of a fixture."""
    return sorted(root.glob("*.yaml")) if root.is_dir() else [root]


if __name__ == "__main__":
    main()
