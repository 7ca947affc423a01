// A client of the node on dcmjs-dimse: one operation, given as JSON; it prints one JSON document.
// Usage: node dcmjs_client.js '{"operation": "echo", "port": 11112, "syntax": "1.2.840.10008.1.2.1"}'

const { Client, Dataset, association, constants, requests, responses } = require("dcmjs-dimse");

const { SopClass, Status, StorageClass } = constants;
const PRIVATE = Object.fromEntries(
  [["LookalikeCreator", "(0075,0010)", "LO"], ["ExampleSOPInstanceUID", "(0075,1001)", "UI"], ["MaximumMatches", "(0075,1006)", "IS"]]
    .map(([name, tag, vr]) => [name, { tag, vr, vm: "1", name, version: "PrivateTag" }]),
);
const task = JSON.parse(process.argv[2]);
const FIND = SopClass.StudyRootQueryRetrieveInformationModelFind;
const MOVE = SopClass.StudyRootQueryRetrieveInformationModelMove;
const GET = SopClass.StudyRootQueryRetrieveInformationModelGet;

const OPERATIONS = {
  echo: () => [new requests.CEchoRequest(), SopClass.Verification],
  store: () => [new requests.CStoreRequest(task.path), StorageClass.SecondaryCaptureImageStorage],
  find: () => [withKeys(new requests.CFindRequest()), FIND],
  move: () => [withKeys(requests.CMoveRequest.createStudyMoveRequest(task.destination, task.study)), MOVE],
  get: () => [withKeys(requests.CGetRequest.createStudyGetRequest(task.study)), GET],
};

/** The request with the keys of the task, in its transfer syntax. */
function withKeys(request) {
  const dataset = new Dataset({ ...(request.getDataset()?.getElements() ?? {}), ...task.keys });
  dataset.setTransferSyntaxUid(task.syntax);
  request.setDataset(dataset);
  return request;
}

const client = new Client();
const [request, sopClass] = OPERATIONS[task.operation]();
const results = { status: null, datasets: [], received: [], completed: null };
request.on("response", (response) => {
  results.status = response.getStatus();
  if (response.hasDataset()) results.datasets.push(response.getDataset().getElements());
  if (response.getCompleted) results.completed = response.getCompleted() || results.completed;
  if (results.datasets.length === task.cancelAfter) client.cancel(request);
});
client.on("cStoreRequest", (incoming, answer) => {
  results.received.push(incoming.getAffectedSopInstanceUid());
  const response = responses.CStoreResponse.fromRequest(incoming);
  response.setStatus(Status.Success);
  answer(response);
});
client.on("networkError", (error) => fail(error));
client.on("associationRejected", () => fail("association rejected"));
client.on("associationReleased", () => console.log(JSON.stringify(results)));
client.addRequest(request);
// The library proposes both syntaxes in one context; a context of its own lets the task choose.
client.addAdditionalPresentationContext(new association.PresentationContext(0, sopClass, task.syntax), true);
client.send("127.0.0.1", task.port, "DCMJS", "LOOKALIKE", { datasetNameMap: PRIVATE });

function fail(reason) {
  console.error(reason);
  process.exit(1);
}
