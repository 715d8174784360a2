# sh tools/run_tests.sh WORKERS [pytest's arguments]: every test. First a file to each of WORKERS processes of one thread,
# the pages in a browser included; then, alone, what is held to seconds. Either part may have nothing to do when the
# arguments name a few tests; if neither has, that is a failure.
workers=$1
shift
python=.venv/bin/python

OMP_NUM_THREADS=1 $python -m pytest -n "$workers" --dist loadfile -m "not alone" "$@"
first=$?
test $first -eq 0 || test $first -eq 5 || exit $first
$python -m pytest -m alone "$@"
second=$?
test $first -eq 0 && test $second -eq 5 && exit 0
exit $second
