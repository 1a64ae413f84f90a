#!/usr/bin/env bash
# Installs the validators of SPDX and CycloneDX documents from PyPI into the folder $1, once.
set -euo pipefail
folder=$1
wanted=(spdx-tools==0.8.5 'cyclonedx-python-lib[json-validation]==11.12.0')
stamp=$folder/wanted
[[ ! -f $stamp || $(<"$stamp") != "${wanted[*]}" ]] || exit 0
rm -rf "$folder"
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"
printf '%s\n' "${wanted[*]}" >"$stamp"
