# What `helm test` asks of each of $STORES; any that does not answer ends it with exit code 1.
set -uo pipefail

status() { # HOST PORT PATH: prints the status of the answer to a GET
  local version code rest
  exec 3<>"/dev/tcp/$1/$2" || return
  printf 'GET %s HTTP/1.0\r\nHost: %s:%s\r\n\r\n' "$3" "$1" "$2" >&3
  read -r -t 20 version code rest <&3 && echo "$code"
}

minio() { [[ $(status nexus-minio 9000 /minio/health/ready) == 200 ]]; }

mlflow() { # reads its database
  [[ $(status nexus-mlflow 5000 "/api/2.0/mlflow/experiments/search?max_results=1") == 200 ]]
}

postgresql() { # with the user and password of the ledger
  [[ $(psql --host=nexus-postgresql --username=nexus --dbname=nexus --no-align --tuples-only \
    --command="SELECT 'ready'") == ready ]]
}

milvus() { # begins as gRPC does; a server's first frame is SETTINGS, whose type, 4, is its fourth byte
  exec 3<>/dev/tcp/nexus-milvus/19530 || return
  printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0' >&3
  [[ $(timeout 20 head -c 4 <&3 | od -An -t u1) == *" 4" ]]
}

nats() { # speaks first
  local words
  exec 3<>/dev/tcp/nexus-nats/4222 || return
  read -r -t 20 words <&3 && [[ $words == INFO* ]]
}

failed=0
for store in $STORES; do
  if ("$store"); then
    echo "nexus-$store answers"
  else
    echo "nexus-$store does not answer as it should" >&2
    failed=1
  fi
done
exit "$failed"
