// An incident as text, to be mailed, filed or pasted into a ticket.

import { recoveryOf, slowestStep } from "./incidents.js";
import { duration, PROOFS, stepLook } from "./words.js";

export function asMarkdown(incident, cluster) {
  const proof = incident.proof ? `${incident.proof}: ${PROOFS[incident.proof]?.text ?? ""}` : "none yet";
  const slowest = slowestStep(incident);
  const back = (id) => incident.steps.filter((step) => step.instance === id && step.name === "recovered").at(-1);
  return [
    `# ${incident.node} failed`, "",
    `- Cluster: ${cluster}`,
    `- Incident: ${incident.id}`,
    `- Began: ${incident.wall}`,
    `- State: ${incident.state}`,
    `- Proof: ${proof}`,
    `- ${incident.affected.length ? `${incident.recovered.length} of ${incident.affected.length} instances back after ${duration(recoveryOf(incident))}` : "Nothing was affected"}`,
    "", "## Steps", "", "| after (s) | step | what |", "|---:|---|---|",
    ...incident.steps.map((step, index) => `| ${step.at.toFixed(3)} | ${stepLook(step.name).label}${index === slowest ? " (slowest)" : ""} | ${cell([step.instance, step.text].filter(Boolean).join(": "))} |`),
    ...(incident.affected.length ? ["", "## Instances", "", "| instance | back after (s) |", "|---|---:|",
      ...incident.affected.map((id) => `| ${cell(id)} | ${back(id) ? back(id).at.toFixed(3) : cell(incident.waiting[id] ?? "not back")} |`)] : []),
    "",
  ].join("\n");
}

const cell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");

/** Offer a text as a file. */
export function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
