if true then
    echo hello
fi
