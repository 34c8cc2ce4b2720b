"""`fastseek score` under fast-reid's kind of name; its arguments are those of the verb."""

from fastseek.cli import run_verb

if __name__ == "__main__":
    run_verb("score")
