#!/bin/sh
# Start the MLflow UI and Optuna's dashboard on the pipeline's stores, on this machine only. Ctrl-C stops both.
set -eu
mlflow_port=$1
optuna_port=$2
store=${MLFLOW_TRACKING_URI:-sqlite:///$PWD/mlflow.db}
studies=${OPTUNA_STORAGE:-optuna.journal}
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false # starts in seconds instead of half a minute

case $studies in
*://*) ;;
*) [ -e "$studies" ] || {
	echo "there is no $studies yet; run \`make repro\` first, or \`make mirror\` to rebuild it from results/" >&2
	exit 1
} ;;
esac

servers=
trap 'kill $servers 2>/dev/null; exit 0' INT TERM
view='#/experiments?workflowType=machine_learning' # MLflow opens on its pages about language models
echo "Optuna: http://127.0.0.1:$optuna_port/dashboard"
case $store in
http://* | https://*) echo "MLflow: ${store%/}/$view" ;;
*)
	echo "MLflow: http://127.0.0.1:$mlflow_port/$view"
	mlflow ui --host 127.0.0.1 --port "$mlflow_port" --workers 1 --backend-store-uri "$store" &
	servers=$!
	;;
esac
optuna-dashboard --host 127.0.0.1 --port "$optuna_port" "$studies" &
servers="$servers $!"
wait
