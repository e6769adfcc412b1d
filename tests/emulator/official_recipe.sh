#!/bin/sh
# The shell recipe of the model page, as it is printed there, but for three things: the base
# url is a variable, the signature is the digest alone (openssl prints a name before it, which
# the recipe would carry into the header), and the ids come from the Run's own answer.
#
# Wants YOUR_API_KEY, YOUR_API_SECRET and BASE_URL; prints the three answers, one a line.
set -eu

export NONCE=$(date +%s)
export SIGNATURE="$(echo -n "${YOUR_API_SECRET}${NONCE}" | openssl dgst -sha256 -hmac "${YOUR_API_KEY}" | sed 's/^.*= //')"

ask() {
    curl -sS --max-time 20 -X POST "${BASE_URL}/$1" -H "Content-Type: multipart/form-data" -H "x-api-key: ${YOUR_API_KEY}" -H "x-nonce: ${NONCE}" -H "x-signature: ${SIGNATURE}" -d "$2"
    echo
}

field() {
    sed "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/"
}

RUN="$(ask Run/black-forest-labs/flux-pro-1-1-ultra '{
    "prompt": "A quiet, sun-drenched Los Angeles street from a low, eye-level perspective. Tall, slender palm trees line the sidewalk, their fronds swaying gently against a clear, cerulean sky. Vintage streetlights stand sentinel, and the asphalt shimmers with heat. In the distance, the iconic Hollywood Sign is subtly visible between buildings, and the faint outlines of the Hollywood Hills rise beyond. Sunlight casts long, sharp shadows of telephone poles and power lines across the scene. Urban, serene, realistic, street-level view, cinematic lighting, high detail, 8K.",
    "promptUpsampling": "false",
    "safetyTolerance": "2",
    "aspectRatio": "16:9",
    "seed": "42",
    "outputFormat": "png",
    "callbackUrl": "You can provide a callback URL; Wiro will send a POST request to it when the task is completed."
}')"
echo "${RUN}"
ask Task/Detail "{ \"taskid\": \"$(echo "${RUN}" | field taskid)\" }"
ask Task/Detail "{ \"tasktoken\": \"$(echo "${RUN}" | field socketaccesstoken)\" }"
