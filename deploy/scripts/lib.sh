# shellcheck shell=sh
# shellcheck disable=SC2086  # the words that `privilege` prints are meant to be split
# Shared by the scripts beside it; sourced, not run.

say() {
    printf '%s\n' "$*" >&2
}

# Repeats a command whose network may hiccup: three attempts with a short wait between them.
attempt() {
    for pause in 2 5 none; do
        "$@" && return 0
        [ "$pause" = none ] && return 1
        say "That failed; trying again in $pause seconds."
        sleep "$pause"
    done
}

# Prints the words that make a command run as root; fails when this account may not.
privilege() {
    if [ "$(id -u)" = 0 ]; then
        echo env
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        echo 'sudo -n'
    else
        return 1
    fi
}

# Installs distribution packages, or fails. Their services are neither started nor enabled: the tests start their own
# copies on free ports, and a machine must not begin to share folders because somebody ran a test suite.
install_packages() {
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root=$(privilege) || return 1
    say "Installing from the distribution: $*"
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        policy=
    else
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null && $as_root chmod 755 "$policy"
        trap '$as_root rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM
    fi
    attempt $as_root apt-get -qq update >&2
    attempt $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >&2
    outcome=$?
    if [ -n "$policy" ]; then
        $as_root rm -f "$policy"
        trap - EXIT INT TERM
    fi
    if [ $outcome = 0 ] && [ -d /run/systemd/system ]; then
        for package in "$@"; do
            case $package in
            nginx | haproxy | varnish | redis-server | krb5-kdc | krb5-admin-server) units=$package ;;
            samba) units='smbd nmbd samba-ad-dc' ;;
            *) units= ;;
            esac
            for unit in $units; do
                $as_root systemctl --quiet disable "$unit" 2>/dev/null
            done
        done
    fi
    return $outcome
}
