"""Records what a real kube-apiserver answers to the steps of a scenario.

usage: record.py URL TOKEN < scenario.json > transcript.json

A scenario is {"steps": [...]}; a step has "verb", "path" and optionally "type" and "body". The answer is added to
each step as "code" and "answer", without uids, times and versions, which differ from run to run.

Steps that the real server refuses because pruning left a null behind ("... must be of type array: \"null\"") are
left out of the transcripts: the store drops what it emptied instead.
"""

import json
import ssl
import sys
import urllib.error
import urllib.request

VOLATILE = ("uid", "resourceVersion", "creationTimestamp")


def normal(answer):
    meta = answer.get("metadata", {})
    for member in VOLATILE:
        meta.pop(member, None)
    if "deletionTimestamp" in meta:
        meta["deletionTimestamp"] = "set"
    for entry in meta.get("managedFields", []):
        entry.pop("time", None)
    if answer.get("kind") == "Status":
        answer.get("details", {}).pop("uid", None)
    if answer.get("kind") == "Pod":
        # Set by admission plugins of the real server.
        for member in ("tolerations", "priority", "preemptionPolicy"):
            answer["spec"].pop(member, None)
    for item in answer.get("items", []):
        normal(item)
    return answer


def main():
    url, token = sys.argv[1:]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    scenario = json.load(sys.stdin)
    for step in scenario["steps"]:
        body = json.dumps(step["body"]).encode() if "body" in step else None
        headers = {"Authorization": "Bearer " + token, "Content-Type": step.get("type", "application/json")}
        request = urllib.request.Request(url + step["path"], body, headers, method=step["verb"])
        try:
            with urllib.request.urlopen(request, context=context) as response:
                step["code"], text = response.status, response.read()
        except urllib.error.HTTPError as error:
            step["code"], text = error.code, error.read()
        step["answer"] = normal(json.loads(text))
    lines = [json.dumps(step, sort_keys=True, separators=(",", ":")) for step in scenario["steps"]]
    print('{"steps": [\n' + ",\n".join(lines) + "\n]}")


main()
