#!/usr/bin/env bash
# checksums.sh VERSION SHA256SUMS: enters the checksums of a release's binaries in checksums.json, and makes it the
# version that the action installs. Earlier versions stay.
set -euo pipefail
version=$1 sums=$2
file=$(dirname -- "${BASH_SOURCE[0]}")/checksums.json
entries=$(
    while read -r sum name; do
        case $name in
        rhdh-pack-*) printf '%s %s\n' "$version/${name#rhdh-pack-}" "$sum" ;;
        esac
    done <"$sums" | jq --raw-input --null-input '[inputs | split(" ") | {key: .[0], value: .[1]}] | from_entries'
)
new=$(jq --arg version "$version" --argjson entries "$entries" '. + {version: $version} + $entries' "$file")
printf '%s\n' "$new" >"$file"
