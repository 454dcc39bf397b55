%(complete_func)s() {
    local IFS=$'\n' response type value current="${COMP_WORDS[COMP_CWORD]}" line="${COMP_LINE:0:COMP_POINT}"
    response=$(COMP_WORDS="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null </dev/null)

    COMPREPLY=()
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        if [[ $type == 'dir' ]]; then
            compopt -o dirnames 2>/dev/null
        elif [[ $type == 'file' ]]; then
            compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$current"))
        elif [[ $type == 'plain' ]]; then
            COMPREPLY+=("$value")
            [[ $value == *= ]] && compopt -o nospace 2>/dev/null
        fi
    done
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null || complete -F %(complete_func)s %(prog_name)s
