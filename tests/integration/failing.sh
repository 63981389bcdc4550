# What the tests of faults share. Sourced by bash, after lib.sh. serve_kit's file is read at
# a place that nothing has read ahead.
MIB=$((1 << 20))
PLACE=$((40 * MIB))

try_read() { # OFFSET LENGTH
    within 60 python3 "$here/tryread.py" "$MNT/model/w.bin" 1 "$@"
}

read_fails() { # ERRORS (as "EIO|ETIMEDOUT") [MILLISECONDS]
    local verdict
    verdict=$(try_read "$PLACE" "$MIB")
    [[ ${verdict% *} =~ ^($1)$ ]] || fail "the read gave $verdict instead of $1"
    at_most "${verdict#* }" "${2:-20000}" "milliseconds to fail"
}

heals_again() {
    verdict=$(try_read "$PLACE" "$MIB")
    [ "${verdict% *}" = OK ]
}
