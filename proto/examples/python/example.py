"""Stores a file as a blob, over broken connections too, and reads it back.

    pip install grpcio grpcio-tools googleapis-common-protos
    mkdir -p gen && python3 -m grpc_tools.protoc -I ../.. \
        --python_out=gen --grpc_python_out=gen ../../lamina/v1/*.proto
    PYTHONPATH=gen python3 example.py localhost:7070 demo/app FILE
"""

import hashlib
import os
import sys
import time

import grpc
from google.rpc import error_details_pb2, status_pb2
from lamina.v1 import blobs_pb2, blobs_pb2_grpc

CHUNK = 1 << 20  # the most that one message may carry


def reason(err):
    """The reason of an error ("BLOB_UNKNOWN", …) and what goes with it."""
    for key, value in err.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason, dict(info.metadata)
    return "", {}


def send(blobs, repository, path, digest, upload_id):
    """One connection's worth of an upload: returns (blob, upload_id, error)."""
    todo = [blobs_pb2.BlobsWriteRequest(
        repository=repository, digest=digest, size=os.path.getsize(path), upload_id=upload_id)]
    offset = None  # not known before the first answer

    def messages():
        yield todo[0]
        while offset is None:  # the server says where to go on
            time.sleep(0.01)
        with open(path, "rb") as f:
            f.seek(offset)
            while True:
                at, data = f.tell(), f.read(CHUNK)
                yield blobs_pb2.BlobsWriteRequest(offset=at, data=data, finish=len(data) < CHUNK)
                if len(data) < CHUNK:
                    return

    answers = blobs.Write(messages())
    try:
        for answer in answers:
            if answer.HasField("blob"):
                return answer.blob, upload_id, None
            upload_id, offset = answer.upload_id, answer.offset
    except grpc.RpcError as err:
        return None, upload_id, err
    finally:
        offset = offset or 0  # lets messages() end
        answers.cancel()


def put(blobs, repository, path):
    with open(path, "rb") as f:
        digest = "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
    upload_id = ""
    for attempt in range(10):
        blob, upload_id, err = send(blobs, repository, path, digest, upload_id)
        if err is None:
            return blob
        why, facts = reason(err)
        print(f"attempt {attempt}: {err.code().name} {why} {facts}", file=sys.stderr)
        if why == "UPLOAD_UNKNOWN":
            upload_id = ""  # it ended or grew too old: begin anew
        elif err.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise err
        time.sleep(1)
    raise err


def get(blobs, repository, digest, write):
    hashed = hashlib.sha256()
    for answer in blobs.Read(blobs_pb2.BlobsReadRequest(repository=repository, digest=digest)):
        hashed.update(answer.data)
        write(answer.data)
    assert "sha256:" + hashed.hexdigest() == digest


def main():
    server, repository, path = sys.argv[1:]
    with grpc.insecure_channel(server) as channel:
        blobs = blobs_pb2_grpc.BlobsStub(channel)
        blob = put(blobs, repository, path)
        print("stored", blob.digest, blob.size)
        read = []
        get(blobs, repository, blob.digest, lambda data: read.append(len(data)))
        print("read", sum(read))
        try:
            blobs.Stat(blobs_pb2.BlobsStatRequest(repository=repository, digest="sha256:" + 64 * "0"))
        except grpc.RpcError as err:
            print("as expected:", *reason(err))


if __name__ == "__main__":
    main()
