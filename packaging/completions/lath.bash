# bash completion for lath. Made by tools/describe of lath's own help: do not edit.
# shellcheck shell=bash

# What may stand after a command: its options.
_lath_options() {
    case "$1" in
        build) echo '--add-host --allow --annotation --build-context --build-arg --cpus --cpu-quota --cpu-period --call --cache-from --cache-to --check --explain -f --file --force-rm --iidfile --jobs --label --load -m --memory --memory-swap --metadata-file --network --no-cache --no-cache-filter -o --output --pids-limit --platform --priority --progress --pull --push -q --quiet --rm --secret --shm-size --ssh --squash -t --tag --target --ulimit --help' ;;
        run) echo '--add-host --cap-add --cap-drop --cidfile --cpu-quota --cpu-period --cpus -d --detach --device --dns --dns-option --dns-search --entrypoint -e --env --env-file --expose --group-add --health-cmd --health-interval --health-retries --health-start-interval --health-start-period --health-timeout -h --hostname --init -i --interactive --ip -l --label -m --memory --memory-swap --mount --name --network --net --network-alias --net-alias --no-healthcheck --pids-limit --platform --privileged -p --publish -P --publish-all --pull --read-only --restart --rm --security-opt --shm-size --stop-signal --stop-timeout --sysctl --tmpfs -t --tty --ulimit -u --user -v --volume -w --workdir --help' ;;
        create) echo '--add-host --cap-add --cap-drop --cidfile --cpu-quota --cpu-period --cpus -d --detach --device --dns --dns-option --dns-search --entrypoint -e --env --env-file --expose --group-add --health-cmd --health-interval --health-retries --health-start-interval --health-start-period --health-timeout -h --hostname --init -i --interactive --ip -l --label -m --memory --memory-swap --mount --name --network --net --network-alias --net-alias --no-healthcheck --pids-limit --platform --privileged -p --publish -P --publish-all --pull --read-only --restart --rm --security-opt --shm-size --stop-signal --stop-timeout --sysctl --tmpfs -t --tty --ulimit -u --user -v --volume -w --workdir --help' ;;
        start) echo '--all -a --attach -i --interactive --help' ;;
        attach) echo '--no-stdin --sig-proxy --help' ;;
        stop) echo '-s --signal -t --time --help' ;;
        restart) echo '-t --time --help' ;;
        kill) echo '-s --signal --help' ;;
        exec) echo '-d --detach -e --env -i --interactive --privileged -t --tty -u --user -w --workdir --help' ;;
        logs) echo '-f --follow --since --until -n --tail -t --timestamps --help' ;;
        cp) echo '-a --archive -L --follow-link --help' ;;
        diff) echo '--help' ;;
        export) echo '-o --output --help' ;;
        commit) echo '-a --author -c --change -m --message -p --pause --help' ;;
        top) echo '--help' ;;
        stats) echo '-a --all --format --no-stream --no-trunc --help' ;;
        ps) echo '-a --all -f --filter --format -n --last -l --latest --no-trunc -q --quiet --help' ;;
        wait) echo '--help' ;;
        health) echo '--help' ;;
        rename) echo '--help' ;;
        rm) echo '-f --force -v --volumes --help' ;;
        volume) echo '-a --all -f --force --filter --format --label --name -q --quiet --help' ;;
        network) echo '-f --force --filter --format --internal --label --no-trunc -q --quiet --subnet --help' ;;
        port) echo '--help' ;;
        images) echo '-a --all --digests -f --filter --format --no-trunc -q --quiet --help' ;;
        history) echo '--format -H --human --no-trunc -q --quiet --help' ;;
        inspect) echo '-f --format --type --help' ;;
        tag) echo '--help' ;;
        rmi) echo '-f --force --help' ;;
        pull) echo '--platform --priority -q --quiet --tls-verify --help' ;;
        push) echo '-q --quiet --tls-verify --help' ;;
        manifest) echo '-a --amend -p --purge --insecure --os --arch --variant --help' ;;
        load) echo '-i --input --platform -q --quiet --help' ;;
        save) echo '-o --output --help' ;;
        import) echo '-c --change -m --message --platform --help' ;;
        login) echo '-u --username -p --password --password-stdin --tls-verify --help' ;;
        logout) echo '--help' ;;
        prune) echo '-a --all -f --force --filter --keep-storage --kind --volumes --help' ;;
        df) echo '--format -v --verbose --help' ;;
        gc) echo '--help' ;;
        info) echo '-f --format --help' ;;
        doctor) echo '--json --strict --help' ;;
        fsck) echo '--repair --from --tls-verify --quick -q --quiet --help' ;;
        version) echo '-f --format --help' ;;
        *) echo '--root --driver --registry-mirror -D --help --version' ;;
    esac
}

# What may follow an option: words, :paths, :any for what nobody can guess; nothing for a switch.
_lath_values() {
    case "$1 $2" in
        ' --root') echo ':paths' ;;
        ' --driver') echo 'overlay copy' ;;
        ' --registry-mirror') echo ':any' ;;
        'build --add-host' | 'build --allow' | 'build --annotation' | 'build --build-arg' | 'build --cpus' | 'build --cpu-quota' | 'build --cpu-period' | 'build --cache-from' | 'build --cache-to' | 'build --jobs' | 'build --label' | 'build -m' | 'build --memory' | 'build --memory-swap' | 'build --no-cache-filter' | 'build --pids-limit' | 'build --rm' | 'build --secret' | 'build --shm-size' | 'build --ssh' | 'build -t' | 'build --tag' | 'build --target' | 'build --ulimit' | 'run --add-host' | 'run --cap-add' | 'run --cap-drop' | 'run --cpu-quota' | 'run --cpu-period' | 'run --cpus' | 'run --device' | 'run --dns' | 'run --dns-option' | 'run --dns-search' | 'run --entrypoint' | 'run -e' | 'run --env' | 'run --expose' | 'run --group-add' | 'run --health-cmd' | 'run --health-interval' | 'run --health-retries' | 'run --health-start-interval' | 'run --health-start-period' | 'run --health-timeout' | 'run -h' | 'run --hostname' | 'run --ip' | 'run -l' | 'run --label' | 'run -m' | 'run --memory' | 'run --memory-swap' | 'run --mount' | 'run --name' | 'run --network-alias' | 'run --net-alias' | 'run --pids-limit' | 'run -p' | 'run --publish' | 'run --security-opt' | 'run --shm-size' | 'run --stop-signal' | 'run --stop-timeout' | 'run --sysctl' | 'run --tmpfs' | 'run --ulimit' | 'run -u' | 'run --user' | 'create --add-host' | 'create --cap-add' | 'create --cap-drop' | 'create --cpu-quota' | 'create --cpu-period' | 'create --cpus' | 'create --device' | 'create --dns' | 'create --dns-option' | 'create --dns-search' | 'create --entrypoint' | 'create -e' | 'create --env' | 'create --expose' | 'create --group-add' | 'create --health-cmd' | 'create --health-interval' | 'create --health-retries' | 'create --health-start-interval' | 'create --health-start-period' | 'create --health-timeout' | 'create -h' | 'create --hostname' | 'create --ip' | 'create -l' | 'create --label' | 'create -m' | 'create --memory' | 'create --memory-swap' | 'create --mount' | 'create --name' | 'create --network-alias' | 'create --net-alias' | 'create --pids-limit' | 'create -p' | 'create --publish' | 'create --security-opt' | 'create --shm-size' | 'create --stop-signal' | 'create --stop-timeout' | 'create --sysctl' | 'create --tmpfs' | 'create --ulimit' | 'create -u' | 'create --user' | 'attach --sig-proxy' | 'stop -s' | 'stop --signal' | 'stop -t' | 'stop --time' | 'restart -t' | 'restart --time' | 'kill -s' | 'kill --signal' | 'exec -e' | 'exec --env' | 'exec -u' | 'exec --user' | 'logs --since' | 'logs --until' | 'logs -n' | 'logs --tail' | 'commit -a' | 'commit --author' | 'commit -c' | 'commit --change' | 'commit -m' | 'commit --message' | 'commit -p' | 'commit --pause' | 'stats --format' | 'ps -f' | 'ps --filter' | 'ps --format' | 'ps -n' | 'ps --last' | 'volume --filter' | 'volume --format' | 'volume --label' | 'volume --name' | 'network --filter' | 'network --format' | 'network --label' | 'network --subnet' | 'images -f' | 'images --filter' | 'images --format' | 'history --format' | 'history -H' | 'history --human' | 'inspect -f' | 'inspect --format' | 'inspect --type' | 'pull --tls-verify' | 'push --tls-verify' | 'manifest --os' | 'manifest --arch' | 'manifest --variant' | 'import -c' | 'import --change' | 'import -m' | 'import --message' | 'login -u' | 'login --username' | 'login -p' | 'login --password' | 'login --tls-verify' | 'prune --filter' | 'prune --keep-storage' | 'df --format' | 'info -f' | 'info --format' | 'fsck --from' | 'fsck --tls-verify' | 'version -f' | 'version --format')
            echo ':any' ;;
        'build --build-context' | 'build -f' | 'build --file' | 'build --iidfile' | 'build --metadata-file' | 'build -o' | 'build --output' | 'run --cidfile' | 'run --env-file' | 'run -v' | 'run --volume' | 'run -w' | 'run --workdir' | 'create --cidfile' | 'create --env-file' | 'create -v' | 'create --volume' | 'create -w' | 'create --workdir' | 'exec -w' | 'exec --workdir' | 'export -o' | 'export --output' | 'load -i' | 'load --input' | 'save -o' | 'save --output')
            echo ':paths' ;;
        'build --call')
            echo 'check outline targets' ;;
        'build --network' | 'run --network' | 'run --net' | 'create --network' | 'create --net')
            echo 'host none bridge' ;;
        'build --platform' | 'run --platform' | 'create --platform' | 'pull --platform' | 'load --platform' | 'import --platform')
            echo 'linux/amd64 linux/arm64 linux/arm/v7 linux/arm/v6 linux/386 linux/riscv64' ;;
        'build --priority' | 'pull --priority')
            echo 'low normal' ;;
        'build --progress')
            echo 'auto plain tty json quiet' ;;
        'run --pull' | 'create --pull')
            echo 'always missing never' ;;
        'run --restart' | 'create --restart')
            echo 'no on-failure always unless-stopped' ;;
        'prune --kind')
            echo 'image cache' ;;
    esac
}

# What the words of a command are.
_lath_kind() {
    case "$1" in
        build) echo folders ;;
        run | create | images | history | tag | rmi | pull | push | save) echo images ;;
        start | attach | stop | restart | kill | exec | logs | diff | export | commit | top | stats | wait | health | rename | rm | port) echo containers ;;
        cp) echo paths ;;
        inspect) echo either ;;
        volume) echo 'create ls inspect rm prune' ;;
        network) echo 'create ls inspect rm prune' ;;
        manifest) echo 'create annotate inspect push rm' ;;
        help) echo commands ;;
        *) echo files ;;
    esac
}

_lath() {
    local cur='' prev='' command='' words=() word i kind first='' reply=() asked=(lath)
    # bash parts words at ':' and '=': here they are whole again.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i > 1)) && { [[ $word == [:=]* ]] || [[ ${COMP_WORDS[i - 1]} == *[:=] ]]; }; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
    done
    cur=${words[${#words[@]} - 1]}
    ((${#words[@]} < 2)) || prev=${words[${#words[@]} - 2]}
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if [[ $word == -* ]]; then
            if [[ $word != *=* && -n $(_lath_values "$command" "$word") ]]; then
                # The same store is asked for names.
                [[ -n $command ]] || asked+=("$word" "${words[i + 1]}")
                ((i++))
            fi
        elif [[ -z $command ]]; then
            command=$word
        elif [[ -z $first ]]; then
            first=$word
        fi
    done
    if [[ $cur == --*=* ]]; then
        kind=$(_lath_values "$command" "${cur%%=*}")
        cur=${cur#*=}
    else
        kind=$(_lath_values "$command" "$prev")
        if [[ -z $kind && $cur == -* ]]; then
            kind=$(_lath_options "$command")
        elif [[ -z $kind && -z $command ]]; then
            kind='build run create start attach stop restart kill exec logs cp diff export commit top stats ps wait health rename rm volume network port images history inspect tag rmi pull push manifest load save import login logout prune df gc info doctor fsck version help'
        elif [[ -z $kind ]]; then
            kind=$(_lath_kind "$command")
            # After the image of a run come programs and files; after what is done to volumes and networks, their names.
            case "$command:${first:+more}" in
                run:more | create:more | exec:more | tag:more | rename:more) kind=:paths ;;
                volume:more) kind=volumes ;;
                network:more) kind=networks ;;
                manifest:more) kind=images ;;
            esac
        fi
    fi
    case $kind in
        :any) ;;
        :paths | files | paths) compopt -o default 2>/dev/null ;;
        folders) mapfile -t reply < <(compgen -d -- "$cur") && compopt -o filenames 2>/dev/null ;;
        commands) mapfile -t reply < <(compgen -W 'build run create start attach stop restart kill exec logs cp diff export commit top stats ps wait health rename rm volume network port images history inspect tag rmi pull push manifest load save import login logout prune df gc info doctor fsck version help' -- "$cur") ;;
        images | containers | either | volumes | networks)
            mapfile -t reply < <(compgen -W "$({
                case $kind in
                    images | either) "${asked[@]}" images --format '{{.Repository}}:{{.Tag}}' ;;
                esac
                case $kind in
                    containers | either) "${asked[@]}" ps -a --format '{{.Names}}' ;;
                    volumes) "${asked[@]}" volume ls -q ;;
                    networks) "${asked[@]}" network ls --format '{{.Name}}' ;;
                esac
            } 2>/dev/null </dev/null | grep -v '<none>')" -- "$cur")
            ;;
        *) mapfile -t reply < <(compgen -W "$kind" -- "$cur") ;;
    esac
    COMPREPLY=()
    for word in "${reply[@]}"; do
        # What stands before the last ':' is on the line already.
        if [[ $COMP_WORDBREAKS == *:* && $cur == *:* ]]; then word=${word#"${cur%"${cur##*:}"}"}; fi
        COMPREPLY+=("$word")
    done
}
complete -F _lath lath
