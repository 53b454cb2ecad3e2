#!/usr/bin/env bash
# The first step of action.yml: finds the binary of rhdh-pack for this runner, in the tool cache or among the assets of
# its release, and compares it with the checksum that stands in checksums.json. The path goes to the next step.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=support/inputs.sh
. "$here/inputs.sh"

# value KEY: of checksums.json, a flat object with one entry a line.
value() {
    local line pattern='^[[:space:]]*"([^"]+)":[[:space:]]*"([0-9A-Za-z.-]+)",?[[:space:]]*$'
    while IFS= read -r line || [ -n "$line" ]; do
        if [[ $line =~ $pattern ]] && [ "${BASH_REMATCH[1]}" = "$1" ]; then
            printf '%s\n' "${BASH_REMATCH[2]}"
            return
        fi
    done <"$here/checksums.json"
}

sha256_of() {
    local sum
    if command -v sha256sum >/dev/null; then
        sum=$(sha256sum -- "$1")
    else
        sum=$(shasum -a 256 -- "$1")
    fi
    printf '%s\n' "${sum%% *}"
}

hand_over() {
    printf 'binary=%s\n' "$1" >>"$GITHUB_OUTPUT"
    # For later steps of the job: `rhdh-pack promote …`.
    [ -z "${GITHUB_PATH:-}" ] || printf '%s\n' "$(cd -- "$(dirname -- "$1")" && pwd)" >>"$GITHUB_PATH"
    exit 0
}

# Runners without a way to GitHub bring their own.
if [ -n "${RHDH_PACK_BINARY:-}" ]; then
    check RHDH_PACK_BINARY "$RHDH_PACK_BINARY" '^[^[:cntrl:]]+$'
    [ -x "$RHDH_PACK_BINARY" ] || die "RHDH_PACK_BINARY names no program: $RHDH_PACK_BINARY"
    hand_over "$RHDH_PACK_BINARY"
fi

check version "${INPUT_VERSION:-}" '^v?[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$'
version=${INPUT_VERSION:-$(value version)}
version=${version#v}

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) target=x86_64-unknown-linux-musl ;;
Linux-aarch64 | Linux-arm64) target=aarch64-unknown-linux-musl ;;
Darwin-arm64) target=aarch64-apple-darwin ;;
Darwin-x86_64) target=x86_64-apple-darwin ;;
*) die "there is no binary of rhdh-pack for $(uname -s) on $(uname -m); set RHDH_PACK_BINARY to one of your own" ;;
esac

expected=$(value "$version/$target")
[ -n "$expected" ] || die "this release of the action knows no checksum of rhdh-pack $version for $target; use a release of the action that has it, or set RHDH_PACK_BINARY"

folder=${RUNNER_TOOL_CACHE:-$RUNNER_TEMP}/rhdh-pack/$version/$target
binary=$folder/rhdh-pack
if [ -x "$binary" ] && [ "$(sha256_of "$binary")" = "$expected" ]; then
    echo "rhdh-pack $version from the tool cache"
    hand_over "$binary"
fi

mkdir -p -- "$folder"
download=$(mktemp "$folder/download.XXXXXX")
trap 'rm -f -- "$download"' EXIT
url=${RHDH_PACK_DOWNLOAD_URL:-https://github.com/org/rhdh-pack-action/releases/download}/v$version/rhdh-pack-$target
for attempt in 1 2 3 4; do
    if curl --fail --silent --show-error --location --proto '=https,http' --proto-redir '=https' \
        --connect-timeout 15 --max-time 300 --output "$download" -- "$url"; then
        break
    fi
    [ "$attempt" -lt 4 ] || die "rhdh-pack $version could not be downloaded from $url"
    sleep "${RHDH_PACK_RETRY_SECONDS:-$((attempt * 5))}"
done
found=$(sha256_of "$download")
[ "$found" = "$expected" ] || die "what was downloaded from $url is not rhdh-pack $version: its sha256 is $found, not $expected"
chmod 755 "$download"
mv -f -- "$download" "$binary"
trap - EXIT
echo "rhdh-pack $version, sha256 $expected"
hand_over "$binary"
