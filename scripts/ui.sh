#!/bin/sh
# Start the MLflow UI on the pipeline's store, on this machine only.
set -eu
port=${1:-5000}
store=${MLFLOW_TRACKING_URI:-sqlite:///$PWD/mlflow.db}
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
echo "MLflow: http://127.0.0.1:$port (Ctrl-C stops it)"
exec mlflow ui --host 127.0.0.1 --port "$port" --workers 1 --backend-store-uri "$store"
