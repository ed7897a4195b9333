#!/bin/bash
sed -i 's/true then/true; then/' greet.sh
