#!/bin/sh
# Ask, and say what became of it, with nothing but curl.
#
#     sh examples/complete.sh
set -eu
url=${OPENAI_BASE_URL:-http://127.0.0.1:8090/v1}
key=${OPENAI_API_KEY:-none}
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT

post() { # path, body
    curl -sS --fail-with-body "$url$1" -H "authorization: Bearer $key" \
        -H 'content-type: application/json' -D "$headers" -d "$2"
    echo
}

post /completions '{
  "model": "code", "prompt": "def area(width, height):\n    return", "max_tokens": 24, "temperature": 0,
  "stop": ["\n"], "user": "u-17",
  "metadata": {"session": "s-4", "surface": "editor", "language": "python"}
}'
# The answer says whose weights gave it, and what to call it.
generation=$(tr -d '\r' <"$headers" | sed -n 's/^x-generation-id: //Ip')
echo "that was $generation by $(tr -d '\r' <"$headers" | sed -n 's/^x-checkpoint: //Ip')"

# One reaction, or up to a hundred. Answered with 2xx: durable.
post /feedback "{\"generation\": \"$generation\", \"signal\": \"rejected\"}"
post /feedback "{\"feedback\": [
  {\"generation\": \"$generation\", \"signal\": \"correction\", \"text\": \" width * height\"},
  {\"generation\": \"$generation\", \"signal\": \"thumbs\", \"value\": \"down\"}
]}"
