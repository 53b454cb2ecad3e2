#!/usr/bin/env bash
# The second step of action.yml: the inputs as arguments of rhdh-pack, which writes outputs, summary and comment itself.
set -euo pipefail
# shellcheck source=support/inputs.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/inputs.sh"

name='[A-Za-z0-9][A-Za-z0-9._-]*'
check command "$INPUT_COMMAND" '^(run|plan|build|push|report|install)$'
check config "$INPUT_CONFIG" '^[^[:cntrl:]]+$'
check channel "$INPUT_CHANNEL" "^$name\$"
check plugins "$INPUT_PLUGINS" "^[[:space:],]*($name([[:space:],]+$name)*)?[[:space:],]*\$"
check jobs "$INPUT_JOBS" '^[1-9][0-9]{0,2}$'
check comment "$INPUT_COMMENT" '^(true|false)$'
check dry-run "$INPUT_DRY_RUN" '^(true|false)$'
check working-directory "$INPUT_WORKING_DIRECTORY" '^[^[:cntrl:]]+$'

cd -- "${INPUT_WORKING_DIRECTORY:-.}" || die "the working-directory does not exist: $INPUT_WORKING_DIRECTORY"

out=$RUNNER_TEMP/rhdh-pack
common=("--out-dir=$out")
[ -z "$INPUT_CONFIG" ] || common+=("--config=$INPUT_CONFIG")
channel=()
[ -z "$INPUT_CHANNEL" ] || channel+=("--channel=$INPUT_CHANNEL")
plugins=()
IFS=$', \t\r\n' read -r -d '' -a ids <<<"$INPUT_PLUGINS" || true
for id in ${ids[@]+"${ids[@]}"}; do
    plugins+=("--plugin=$id")
done
jobs=()
[ -z "$INPUT_JOBS" ] || jobs+=("--jobs=$INPUT_JOBS")
dry_run=()
[ "$INPUT_DRY_RUN" != true ] || dry_run+=("--dry-run")

# Only what talks to registries and to GitHub gets what opens them.
unset GITHUB_TOKEN RHDH_PACK_USERNAME RHDH_PACK_PASSWORD
case "$INPUT_COMMAND" in
run | push | report) [ -z "$INPUT_GITHUB_TOKEN" ] || export GITHUB_TOKEN=$INPUT_GITHUB_TOKEN ;;
esac
case "$INPUT_COMMAND" in
run | plan | push)
    if [ -n "$INPUT_REGISTRY_USERNAME" ] && [ -n "$INPUT_REGISTRY_PASSWORD" ]; then
        export RHDH_PACK_USERNAME=$INPUT_REGISTRY_USERNAME RHDH_PACK_PASSWORD=$INPUT_REGISTRY_PASSWORD
    fi
    ;;
esac
unset INPUT_GITHUB_TOKEN INPUT_REGISTRY_USERNAME INPUT_REGISTRY_PASSWORD
export RHDH_PACK_COMMENT=${INPUT_COMMENT:-true}

# rhdh_pack COMMAND [ARGUMENT…]
status=0
rhdh_pack() {
    local code=0
    "$BINARY" "${common[@]}" "$@" || code=$?
    [ "$code" -le "$status" ] || status=$code
}

# What the legs of a matrix uploaded, each in a folder of its own below this one.
merge() {
    [ -n "${RHDH_PACK_LEGS:-}" ] || return 0
    local legs=("$RHDH_PACK_LEGS"/*/)
    # A plan that only copies has no legs.
    [ -d "${legs[0]}" ] || [ ! -f "$out/plan.json" ] || return 0
    [ -d "${legs[0]}" ] || die "RHDH_PACK_LEGS has no folders: $RHDH_PACK_LEGS"
    RHDH_PACK_COMMENT=false GITHUB_STEP_SUMMARY='' "$BINARY" "${common[@]}" --quiet report --merge "${legs[@]}" ||
        [ "$?" -eq 1 ] || exit 2
}

# The arrays are written so because bash 3.2 of macOS takes an empty one for a variable that is not set.
case "${INPUT_COMMAND:-run}" in
run)
    rhdh_pack run ${channel[@]+"${channel[@]}"} ${plugins[@]+"${plugins[@]}"} ${jobs[@]+"${jobs[@]}"} \
        ${dry_run[@]+"${dry_run[@]}"}
    ;;
plan)
    rhdh_pack plan ${channel[@]+"${channel[@]}"} ${plugins[@]+"${plugins[@]}"}
    ;;
build)
    rhdh_pack export ${plugins[@]+"${plugins[@]}"} ${jobs[@]+"${jobs[@]}"}
    # Without a result, nothing was exported.
    [ "$status" -gt 1 ] || rhdh_pack package ${jobs[@]+"${jobs[@]}"}
    ;;
push)
    merge
    rhdh_pack push ${channel[@]+"${channel[@]}"} ${dry_run[@]+"${dry_run[@]}"}
    ;;
report)
    merge
    rhdh_pack report
    ;;
# The step before has done it.
install) ;;
esac
exit "$status"
