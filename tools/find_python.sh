#!/bin/sh
# Prints a Python that this project runs on: $PYTHON if it is set, else the first that works of the usual names.
# A name on PATH proves nothing (pyenv leaves shims of versions that are not active), so each candidate is run.
check='import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'

if [ -n "$PYTHON" ]; then set -- "$PYTHON"; else set -- .venv/bin/python python3.12 python3.11 python3 python; fi
for candidate in "$@"; do
    if "$candidate" -c "$check" >/dev/null 2>&1; then
        echo "$candidate"
        exit 0
    fi
done

if [ -n "$PYTHON" ]; then
    echo "PYTHON=$PYTHON is not a working Python 3.11 or 3.12 with venv: name another one." >&2
else
    echo "fewsteps needs Python 3.11 or 3.12 with venv (on Debian: apt install python3 python3-venv); name one that is not on PATH with make PYTHON=..." >&2
fi
exit 1
