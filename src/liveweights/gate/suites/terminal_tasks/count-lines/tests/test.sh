#!/bin/bash
# Runs in /app; the reward is 1 where every check holds.
mkdir -p /logs/verifier
if [ "$(tr -dc 0-9 < count.txt)" = 7 ]; then
    echo 1 > /logs/verifier/reward.txt
else
    echo 0 > /logs/verifier/reward.txt
fi
