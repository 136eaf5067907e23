#!/bin/sh
# Removes what install.sh has put here: services, links, commands, releases, and at the very end itself.
#
# Cut short, it can be run again. Everything goes by name: what is not of install.sh stays. Images, results and the answers
# of edge-serve stay too, unless --purge is given.
#
# Exit codes: 0 removed; 2 usage, or not allowed; 6 something could not be removed.
set -eu

commands='edge-infer edge-device edge-serve'
services='fracture-edge.service fracture-edge-serve.service'
service_user=fracture-edge
state=/var/lib/fracture-edge # of the service of the system

say() { printf '%s\n' "$*"; }

# fail CODE MESSAGE
fail() {
    code=$1
    shift
    printf 'error: %s\n' "$*" >&2
    exit "$code"
}

# is_ours UNIT: whether a unit file runs what is installed here.
is_ours() { grep -qsF "ExecStart=$prefix/bin/" "$1"; }

# remove_services SCOPE FOLDER
remove_services() {
    for name in $services; do
        is_ours "$2/$name" || continue
        [ "$1" = user ] || [ "$(id -u)" -eq 0 ] || fail 2 "$2/$name: only root can remove it; nothing was removed"
        if [ -d /run/systemd/system ]; then
            systemctl "--$1" stop "$name" || say "warning: $name could not be stopped" >&2
            systemctl "--$1" disable --quiet "$name" || true
        fi
        rm -f -- "$2/$name"
        if [ -d /run/systemd/system ]; then systemctl "--$1" daemon-reload || true; fi
    done
}

remove_links() {
    [ -f "$prefix/links" ] || return 0
    while IFS= read -r folder; do
        for name in $commands; do
            if [ "$(readlink -- "$folder/$name")" = "$prefix/bin/$name" ]; then rm -f -- "$folder/$name"; fi
        done
    done <"$prefix/links"
}

remove_releases() {
    for name in $commands; do rm -f -- "$prefix/bin/$name" "$prefix/bin/$name.new"; done
    rm -f -- "$prefix/current" "$prefix/previous" "$prefix/trusted.pub" "$prefix/links"
    rm -f -- "$prefix/.current.new" "$prefix/.previous.new" "$prefix/.service.new" "$prefix/.links.new"
    for folder in "$prefix"/releases/fracture-edge-*; do
        case ${folder##*/fracture-edge-} in *[!0-9a-f-]*) continue ;; esac # not a name that an installer gives
        rm -rf -- "$folder"
    done
}

purge() {
    rm -rf -- "$prefix/inbox" "$prefix/results" "$prefix/serve.conf"
    [ "$(id -u)" -eq 0 ] || return 0
    for name in $services; do [ ! -e "/etc/systemd/system/$name" ] || return 0; done # of another prefix
    rm -rf -- "$state"
    ! getent passwd "$service_user" >/dev/null || userdel -- "$service_user" || say "the user $service_user stays" >&2
}

main() {
    purging=no
    for argument in "$@"; do
        case $argument in
        --purge) purging=yes ;;
        --help)
            say "Usage: ./uninstall.sh [--purge]"
            say "  --purge  remove inbox, results and the answers of edge-serve too"
            exit 0
            ;;
        *) fail 2 "$argument: no such option; --purge and --help are all" ;;
        esac
    done
    prefix=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")" && pwd)
    [ ! -e "$prefix/install.sh" ] || fail 2 "$prefix: a package; uninstall.sh belongs where it was installed"
    [ -w "$prefix" ] || fail 2 "$prefix: may not be written to: run as who installed it"
    if [ -d "$prefix/releases" ]; then
        exec 9<"$prefix/releases"
        flock --nonblock 9 || fail 6 "$prefix: install.sh or edge-device is at work there"
    fi
    remove_services system /etc/systemd/system
    remove_services user "${XDG_CONFIG_HOME:-${HOME:-/nonexistent}/.config}/systemd/user"
    remove_links
    if [ "$purging" = yes ]; then purge; fi
    remove_releases
    for folder in "$prefix/bin" "$prefix/releases"; do
        [ ! -d "$folder" ] || rmdir --ignore-fail-on-non-empty -- "$folder"
    done
    rm -f -- "$prefix/uninstall.sh"
    rmdir --ignore-fail-on-non-empty -- "$prefix"
    say "removed from $prefix$([ ! -d "$prefix" ] || echo "; what stays there: $(ls -A -- "$prefix" | tr '\n' ' ')")"
    exit 0
}

# The last line: a script that was cut short does nothing.
main "$@"
