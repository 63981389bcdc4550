#!/bin/bash
# completion.sh KITFS: the scripts are sound, as far as the shells are here, and bash's one
# completes.
set -euo pipefail
kitfs=$1
for shell in bash zsh fish; do
    script=$("$kitfs" completion "$shell")
    if command -v "$shell" >/dev/null; then
        "$shell" -n <(echo "$script")
    fi
done

complete_words() { # WORD...: what bash offers for the last one
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _kitfs
    echo "${COMPREPLY[*]}"
}

eval "$("$kitfs" completion bash)"
[ "$(complete_words kitfs moun)" = mount ]
[ "$(complete_words kitfs mount --plain)" = --plain-http ]
[ "$(complete_words kitfs umount --plain)" = "" ]
[ "$(complete_words kitfs ls --l)" = "--label --long --log-level --log-format" ]
