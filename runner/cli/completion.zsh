#compdef %(prog_name)s

%(complete_func)s() {
    local -a plain described open response
    local type key description
    (( ! $+commands[%(prog_name)s] )) && return 1

    response=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null </dev/null)}")

    for type key description in ${response}; do
        if [[ "$type" == "plain" ]]; then
            if [[ "$key" == *= ]]; then
                open+=("$key")
            elif [[ "$description" == "_" ]]; then
                plain+=("$key")
            else
                described+=("$key":"$description")
            fi
        elif [[ "$type" == "dir" ]]; then
            _path_files -/
        elif [[ "$type" == "file" ]]; then
            _path_files -f
        fi
    done

    [ -n "$described" ] && _describe -V unsorted described -U
    [ -n "$plain" ] && compadd -U -V unsorted -a plain
    [ -n "$open" ] && compadd -U -V unsorted -S '' -a open
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
