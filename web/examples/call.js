/** Monitors the remote track of a WebRTC call: here the loopback of the microphone through two peer connections. */
import { load } from "../dist/index.js";

const byId = (id) => document.getElementById(id);
const model = load("small");
let end = null;

byId("call").addEventListener("click", async () => {
  byId("call").disabled = true;
  byId("status").textContent = "Calling…";
  try {
    const media = await navigator.mediaDevices.getUserMedia({ audio: true });
    const [local, remote] = [new RTCPeerConnection(), new RTCPeerConnection()];
    local.onicecandidate = ({ candidate }) => remote.addIceCandidate(candidate);
    remote.onicecandidate = ({ candidate }) => local.addIceCandidate(candidate);
    const track = new Promise((resolve) => (remote.ontrack = (event) => resolve(event.track)));
    for (const one of media.getTracks()) local.addTrack(one, media);
    await local.setLocalDescription();
    await remote.setRemoteDescription(local.localDescription);
    await remote.setLocalDescription();
    await local.setRemoteDescription(remote.localDescription);

    const monitor = await (await model).monitor(await track, show, { onend: (error) => (byId("status").textContent = error ? error.message : "The call has ended.") });
    end = async () => {
      media.getTracks().forEach((one) => one.stop());
      local.close();
      remote.close();
      await monitor.stop();
    };
    byId("hang-up").disabled = false;
  } catch (error) {
    byId("status").textContent = error.message;
    byId("call").disabled = false;
  }
});

byId("hang-up").addEventListener("click", async () => {
  byId("hang-up").disabled = true;
  await end();
  byId("call").disabled = false;
});

function show(scores) {
  byId("status").textContent = scores.error ? `not scored: ${scores.error}` : `G-MOS ${scores.g_mos.toFixed(2)}${scores.flags.length ? ` (${scores.flags.join(", ")})` : ""}`;
  if (!scores.error) byId("quality").value = scores.g_mos;
}
