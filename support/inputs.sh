# shellcheck shell=bash
# What both steps of action.yml share: inputs are environment variables, checked against a pattern before they are used,
# and only ever arguments, never shell text.

# A message as an annotation of the step, then the end of it.
die() {
    local text=$1
    text=${text//'%'/'%25'}
    text=${text//$'\r'/'%0D'}
    text=${text//$'\n'/'%0A'}
    printf '::error title=rhdh-pack::%s\n' "$text"
    exit 2
}

# check NAME VALUE PATTERN: an empty value is one that was not given.
check() {
    [ -z "$2" ] || [[ $2 =~ $3 ]] || die "the input $1 is not valid: $(printf '%q' "$2")"
}
