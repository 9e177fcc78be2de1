#!/bin/sh
# Stand-in for systemd on a lab node, run by tini: keeps holdfast-guard and holdfast-agent running once the node is
# configured. SIGTERM is a graceful shutdown: the agent ends first, then the guard, then the node is off.
log=/var/log/holdfast
run=/run/holdfast-lab
mkdir -p "$log" "$run"

keep() {
    trap '' TERM
    while :; do
        if [ -e /etc/holdfast/node.toml ] && [ ! -e "$run/stop.$1" ] && [ ! -e "$run/stop.all" ]; then
            (
                trap - TERM
                exec "$HOLDFAST_BIN/$1" >>"$log/$1.log" 2>&1
            ) &
            echo $! >"$run/$1.pid"
            wait $!
            echo "lab: $1 ended with status $?" >>"$log/$1.log"
            rm -f "$run/$1.pid"
        fi
        sleep 0.3
    done
}

end() { # NAME: ask it to end and wait, as systemd would, at most 90 s
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 0
    kill -TERM "$pid" 2>/dev/null
    i=0
    while [ -e "$run/$1.pid" ] && kill -0 "$pid" 2>/dev/null; do
        i=$((i + 1))
        [ "$i" -gt 900 ] && kill -KILL "$pid" 2>/dev/null
        sleep 0.1
    done
}

shutdown() {
    touch "$run/stop.all"
    end holdfast-agent
    end holdfast-guard
    exit 0
}

trap shutdown TERM INT
keep holdfast-guard &
keep holdfast-agent &
while :; do wait; done
