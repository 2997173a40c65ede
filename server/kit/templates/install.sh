#!/bin/sh
# Check this kit and install it: no internet, compiler or git is needed, only Python.
# sh install.sh [--to FOLDER] [--fingerprint XXXX-XXXX-XXXX-XXXX-XXXX] [--check-only]
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 1
for python in "${PYTHON:-python3}" python3.11 python3.12 python3.13; do
    if command -v "$python" >/dev/null 2>&1; then
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            exec "$python" -I "$here/install.py" "$@"
        fi
    fi
done
echo "error no Python 3.11 or newer here -> install it, or say where: PYTHON=/path/to/python3" >&2
exit 1
