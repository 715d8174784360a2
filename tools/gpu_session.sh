#!/bin/bash
# A quarter of an hour on a lent GPU, prepared: all small networks that data/gpu-queue.md waits for, beside each other.
#
# Here, before the first call and after the last:
#   FEWSTEPS_DATA=... bash tools/gpu_session.sh carry     what travels into .gpu, .gpu2 and .gpu3; the rest of the tree
#                                                         aside (a call carries 64 MiB, and the tree is larger)
#   bash tools/gpu_session.sh restore                     everything back in its place
#   bash tools/gpu_session.sh unpack FOLDER               what came back, into data/checkpoints and data/statistics
# There, each as the command of a call, one right after the other: a machine that waits for half a minute goes back,
# and with it all that was not packed. Have the next call ready before the last one ends.
#   bash .gpu/session.sh start                            carry .gpu: Fashion-MNIST, MNIST, code; training begins
#   bash .gpu2/session.sh second                          carry .gpu2: half of CIFAR-10
#   bash .gpu3/session.sh third; bash /tmp/session.sh back 240    carry .gpu3: the other half; then wait and pack
#   bash /tmp/session.sh back 240                         again, until the time is spent
#
# Seen on an H200 (27 November 2026): 37 s until the machine runs, 10 s for a call that carries 55 MiB; fourteen
# trainings at once make 175 steps a second together, a full model 10.6, the baseline 16, and keep the card 97 % busy,
# so the long ones go first, at a higher priority. The samplers of PixelAware's Tables 1 and 2 on CIFAR-10 took less
# than four minutes beside them.
set -u
export FEWSTEPS_DATA=${FEWSTEPS_DATA:-/tmp/data}
ROWS="ddgan2 progddgan ddgan2-features ddgan2-se ddgan2-pixels ddgan2-special progddgan-constant progddgan-free progddgan-every progddgan-uniform"
SHIPPED="fashion-eye cifar10 cifar10-classifier mnist-classifier cifar10-scale cifar10-scale-log cifar10-direct cifar10-parallel"

carry() {
  mkdir -p .gpu/data .gpu2/cifar10 .gpu3/cifar10 .aside/checkpoints .aside/statistics
  for each in .gpu .gpu2 .gpu3 .aside; do
    grep -qx "/$each/" .git/info/exclude || echo "/$each/" >> .git/info/exclude
    [ "$each" = .aside ] || cp tools/gpu_session.sh $each/session.sh
  done
  mkdir -p .gpu/data/fashion_mnist .gpu/data/mnist
  cp "$FEWSTEPS_DATA"/fashion_mnist/train-* .gpu/data/fashion_mnist/
  cp "$FEWSTEPS_DATA"/mnist/* .gpu/data/mnist/
  cp "$FEWSTEPS_DATA"/cifar10/{labels.npz,names.txt.xz,*.json,train_0[0-6].webp} .gpu2/cifar10/
  cp "$FEWSTEPS_DATA"/cifar10/{train_0[7-9]*,train_1*,test_*}.webp .gpu3/cifar10/
  chmod -R u+w .gpu .gpu2 .gpu3
  mv book notebooks data/results data/pipelines requirements.lock package-lock.json .aside/
  for path in data/checkpoints/*; do
    name=$(basename "$path"); name=${name%.*}
    case " $SHIPPED " in *" $name "*) ;; *) mv "$path" .aside/checkpoints/ ;; esac
  done
  for path in data/statistics/*; do
    case $(basename "$path") in cifar10-32* | mnist-32* | cifar10-scale.starts) ;; *) mv "$path" .aside/statistics/ ;; esac
  done
  du -sm .gpu .gpu2 .gpu3
  du -sm --exclude=.git --exclude=.venv --exclude=node_modules --exclude=.gpu2 --exclude=.gpu3 --exclude=.aside .
}

restore() {
  mv .aside/checkpoints/* data/checkpoints/
  mv .aside/statistics/* data/statistics/
  rmdir .aside/checkpoints .aside/statistics
  mv .aside/results .aside/pipelines data/
  mv .aside/* .
  rm -r .aside .gpu .gpu2 .gpu3
}

start() {
  cp -r . /tmp/tree
  mkdir -p /tmp/data /tmp/runs /tmp/res /tmp/mps /tmp/mpslog
  cp -r .gpu/data/. /tmp/data/
  cp .gpu/session.sh /tmp/
  MPS=$(command -v nvidia-cuda-mps-control || ls /usr/local/nvidia/bin/nvidia-cuda-mps-control)
  export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps CUDA_MPS_LOG_DIRECTORY=/tmp/mpslog
  $MPS -d  # processes then share the card at the same time; nothing about the card is changed
  setsid nohup bash /tmp/session.sh all > /tmp/res/all.log 2>&1 < /dev/null &
  sleep 1
}

second() { mkdir -p /tmp/data/cifar10 && cp .gpu2/cifar10/* /tmp/data/cifar10/; }
third() { cp .gpu3/cifar10/* /tmp/data/cifar10/ && touch /tmp/data/cifar10/ready; }

await() { for path in "$@"; do until [ -f "$path" ]; do sleep 1; done; done; }
many() { python3 tools/gpu_many.py work --state /tmp/runs "$@"; }
images() { # DATA SUFFIX PARTS
  for k in $(seq "$3"); do
    python3 tools/measure_pixel.py "$1" --suffix="$2" --only images --part "$k" "$3" --device cuda \
      --out "/tmp/res/pixel-$1$2-$k.json" > "/tmp/res/pixel-$1$2-$k.log" 2>&1 &
  done
  wait
}

all() {
  cd /tmp/tree || exit
  export PYTHONPATH=/tmp/tree/lib OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
  export MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824
  many fashion-progddgan-long:13000 fashion-ddgan2-long:13000 fashion-ddgan4-long:13000 --at-once 3 &
  export CUDA_MPS_CLIENT_PRIORITY=1  # below what is long
  many $(for row in $ROWS; do echo "fashion-$row:5000"; done) --at-once 7 &
  (
    await /tmp/data/cifar10/ready
    many cifar10-single:4317 cifar10-either:4317 --at-once 2
    nice -n 5 python3 tools/measure_pixel.py cifar10 --only rivals --device cuda --out /tmp/res/pixel-rivals.json &
    images cifar10 "" 4
    for t in 200 100; do
      many mnist-scale-$t:9000 mnist-scale-log-$t:9000 mnist-direct-$t:9000 --at-once 3
      many mnist-parallel-$t:8000 mnist-single-$t:8000 mnist-either-$t:8000 --at-once 3
      python3 tools/measure_pixel.py mnist --suffix=-$t --only laws --device cuda
      cp data/statistics/mnist-scale-$t.starts /tmp/res/
      images mnist -$t 4
    done
  ) &
  wait
}

back() { # SECONDS to wait before what is ready is packed
  sleep "$1"
  export PYTHONPATH=/tmp/tree/lib
  cd /tmp/tree || exit
  python3 tools/gpu_many.py show --state /tmp/runs
  python3 tools/gpu_many.py pack --state /tmp/runs --out "$OUT" --files 4
  tar czf "$OUT/results.tgz" -C /tmp res
  tail -n 3 /tmp/res/*.log | cut -c1-160
  uptime
}

unpack() { # FOLDER
  for path in "$1"/networks-*.tar; do
    tar xf "$path" -C data/in_training --strip-components=1 --wildcards '*.json' '*.safetensors'
  done
  [ -f "$1/results.tgz" ] && tar xzf "$1/results.tgz" -C data/statistics --strip-components=1 --wildcards '*.starts' 2> /dev/null
  ls data/in_training
}

"$@"
